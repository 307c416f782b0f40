import { randomUUID } from 'node:crypto'
import {
  DeleteDocumentResponse,
  Document,
  type DocumentVersion,
  ExtractionState,
  ListDocumentsResponse,
  ListDocumentVersionsResponse,
} from '@docmesh/contracts/document/v1/document'
import { Command } from 'commander'
import { type Cli, ending, type GlobalOptions, withMesh } from '../cli.ts'
import { download } from '../download.ts'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import type { MeshSession } from '../mesh-session.ts'
import { jsonText, morePages, type PageOptions, withPaging } from '../paging.ts'
import { collect, wholeNumber } from '../parse.ts'
import { table } from '../render/table.ts'
import { sizeText, timeText } from '../render/text.ts'

interface ListOptions extends PageOptions {
  readonly name?: string
  readonly tag?: readonly string[]
}
interface DownloadOptions extends GlobalOptions {
  readonly documentVersion?: number
  readonly output?: string
}
interface DeleteOptions extends PageOptions {
  readonly reason?: string
}

export function documentsCommand(cli: Cli): Command {
  const { io } = cli
  const inMesh = <O extends GlobalOptions>(
    work: (documents: MeshSession['documents'], options: O, id: string) => Promise<void>,
  ) =>
    ending<O>(cli, async (options, id = ''): Promise<ExitCode> => {
      await withMesh(cli, options, ({ documents }) => work(documents, options, id))
      return EXIT.ok
    })
  const documents = new Command('documents').description('documents that are stored').addHelpText(
    'after',
    `
Examples:
  docmesh documents list --name contract --page-size 20
  docmesh documents versions 0199f3c2-…
  docmesh documents download 0199f3c2-… --output contract.pdf
  docmesh documents delete 0199f3c2-… --reason "LGPD art. 18, VI"`,
  )

  withPaging(documents.command('list').description('list documents, newest first'))
    .option('--name <text>', 'only documents whose name contains this')
    .option('--tag <tag>', 'only documents with this tag; may be given more than once', collect)
    .action(
      inMesh<ListOptions>(async (client, { pageSize = 0, pageToken = '', name = '', tag = [], json }) => {
        const page = await client.listDocuments({ pageSize, pageToken, nameContains: name, tags: [...tag] })
        io.stdout.write(json ? jsonText(ListDocumentsResponse.toJSON(page)) : documentTable(page.documents))
        morePages(io, page)
      }),
    )

  documents
    .command('get')
    .description('show one document')
    .argument('<id>', 'id of the document')
    .option('--json', 'proto3 JSON')
    .action(
      inMesh<PageOptions>(async (client, { json }, documentId) => {
        const { document } = await client.getDocument({ documentId })
        if (!document) return
        io.stdout.write(json ? jsonText(Document.toJSON(document)) : documentTable([document]))
      }),
    )

  withPaging(documents.command('versions').description('list the versions of a document, newest first'))
    .argument('<id>', 'id of the document')
    .action(
      inMesh<PageOptions>(async (client, { pageSize = 0, pageToken = '', json }, documentId) => {
        const page = await client.listDocumentVersions({ documentId, pageSize, pageToken })
        io.stdout.write(
          json ? jsonText(ListDocumentVersionsResponse.toJSON(page)) : versionTable(page.versions),
        )
        morePages(io, page)
      }),
    )

  documents
    .command('download')
    .description('download the bytes of a document')
    .argument('<id>', 'id of the document')
    .option(
      '--document-version <number>',
      'version to download; the current one when not given',
      wholeNumber(1, 2 ** 31 - 1),
    )
    .option('--output <file>', 'file to write; - is standard output; default: the name of the document')
    .action(
      inMesh<DownloadOptions>((client, { documentVersion = 0, output }, documentId) =>
        download(client, { documentId, version: documentVersion }, output, io),
      ),
    )

  documents
    .command('delete')
    .description('erase a document and everything derived from it; prints the receipt')
    .argument('<id>', 'id of the document')
    .option('--reason <text>', 'why; kept in the receipt')
    .option('--json', 'proto3 JSON')
    .action(
      inMesh<DeleteOptions>(async (client, { reason = '', json }, documentId) => {
        const answer = await client.deleteDocument({ documentId, reason, requestId: randomUUID() })
        const { receipt } = answer
        io.stdout.write(
          json || !receipt
            ? jsonText(DeleteDocumentResponse.toJSON(answer))
            : `erased ${receipt.documentId} at ${timeText(receipt.erasedAt)}, receipt ${receipt.id}\n`,
        )
      }),
    )
  return documents
}

function documentTable(documents: readonly Document[]): string {
  const rows = documents.map(({ id, name, currentVersion: version, createdAt }) => [
    id,
    name,
    String(version?.number ?? '-'),
    version ? sizeText(version.sizeBytes) : '-',
    version?.mediaType ?? '-',
    textState(version),
    timeText(createdAt),
  ])
  return table(['ID', 'NAME', 'VERSION', 'SIZE', 'TYPE', 'TEXT', 'CREATED (UTC)'], rows)
}

function versionTable(versions: readonly DocumentVersion[]): string {
  const rows = versions.map((version) => [
    String(version.number),
    sizeText(version.sizeBytes),
    version.mediaType,
    textState(version),
    version.sha256.slice(0, 12),
    timeText(version.createdAt),
  ])
  return table(['VERSION', 'SIZE', 'TYPE', 'TEXT', 'SHA-256', 'CREATED (UTC)'], rows)
}

function textState(version: DocumentVersion | undefined): string {
  switch (version?.extractionState) {
    case ExtractionState.PENDING:
      return 'not read yet'
    case ExtractionState.RUNNING:
      return 'being read'
    case ExtractionState.EXTRACTED:
      return version.pageCount === 1 ? '1 page' : `${version.pageCount} pages`
    case ExtractionState.UNREADABLE:
      return 'unreadable'
    default:
      return '-'
  }
}
