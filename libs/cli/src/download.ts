import { createHash } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { basename } from 'node:path'
import type { DownloadMetadata } from '@docmesh/contracts/document/v1/document'
import { EXIT } from './exit-codes.ts'
import { CliError } from './failure.ts'
import type { Io } from './io.ts'
import type { MeshSession } from './mesh-session.ts'
import { plain, sizeText } from './render/text.ts'

interface Target {
  readonly name: string
  write(chunk: Uint8Array): unknown
  close(): Promise<void>
  discard(): Promise<void>
}

/**
 * Downloads a version to `output`: a file, `-` for standard output, by default a new file named as the document.
 * @throws CliError when the bytes are not those that were stored, or the default file exists.
 */
export async function download(
  documents: MeshSession['documents'],
  wanted: { readonly documentId: string; readonly version: number },
  output: string | undefined,
  io: Io,
): Promise<void> {
  const hash = createHash('sha256')
  let metadata: DownloadMetadata | undefined
  let target: Target | undefined
  let sizeBytes = 0
  try {
    for await (const { part } of documents.downloadDocument(wanted)) {
      if (part?.$case === 'metadata') {
        metadata = part.value
        target = await openTarget(output, metadata.name, io)
      } else if (part?.$case === 'chunk') {
        hash.update(part.value)
        sizeBytes += part.value.length
        await target?.write(part.value)
      }
    }
    if (hash.digest('hex') !== metadata?.version?.sha256) {
      throw new CliError(EXIT.failed, 'the bytes that arrived are not those that were stored', 'try again')
    }
  } catch (error) {
    await target?.discard()
    throw error
  }
  await target?.close()
  if (target) io.stderr.write(`${target.name}: ${sizeText(sizeBytes)}\n`)
}

/** The name comes from whoever uploaded the document: it must not lead out of this folder. */
export function fileNameOf(documentName: string): string {
  const name = basename(plain(documentName).replaceAll('\\', '/'))
  return ['', '.', '..'].includes(name) ? 'document' : name
}

async function openTarget(output: string | undefined, documentName: string, io: Io): Promise<Target> {
  if (output === '-') {
    const nothing = async (): Promise<void> => {}
    return { name: 'stdout', write: (chunk) => io.stdout.write(chunk), close: nothing, discard: nothing }
  }
  const name = output ?? fileNameOf(documentName)
  try {
    const file = await open(name, output === undefined ? 'wx' : 'w')
    return {
      name,
      write: (chunk) => file.writeFile(chunk), // where it stands, and all of it: `write` may take a part
      close: () => file.close(),
      async discard() {
        const isOurs = (await file.stat()).isFile() // and no device, such as /dev/null
        await file.close()
        if (isOurs) await rm(name, { force: true })
      },
    }
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw new CliError(
      EXIT.usage,
      exists ? `${name} exists already` : `cannot write ${name}: ${(cause as Error).message}`,
      'name another file with --output',
      { cause },
    )
  }
}
