import { opendir, stat } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { EXIT, type ExitCode } from '../exit-codes.ts'
import { failureText } from '../failure.ts'
import { plain } from '../render/text.ts'

/** A file that is not part of the batch, and why. */
export interface Refused {
  readonly path: string
  readonly reason: string
  readonly exitCode: ExitCode
}

export interface FoundFiles {
  /** Absolute, each once, in the order of the arguments, folders sorted. */
  readonly files: readonly string[]
  readonly refused: readonly Refused[]
}

/** What the document service reads; a file that is named itself may have any name. */
const EXTENSIONS = ['.pdf', '.docx', '.html', '.htm', '.md', '.markdown', '.txt']

/** The documents at these paths: files as they are, folders with all that is in them but for hidden entries and links. */
export async function findDocuments(paths: readonly string[]): Promise<FoundFiles> {
  const files = new Set<string>()
  const refused: Refused[] = []
  for (const path of paths) {
    const absolute = resolve(path)
    try {
      const found = await stat(absolute)
      if (!found.isDirectory()) files.add(absolute)
      else for await (const file of documentsIn(absolute, refused)) files.add(file)
    } catch (error) {
      refused.push(unreadable(absolute, error))
    }
  }
  return { files: [...files], refused }
}

async function* documentsIn(folder: string, refused: Refused[]): AsyncIterable<string> {
  try {
    const entries = await Array.fromAsync(await opendir(folder))
    entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) yield* documentsIn(path, refused)
      else if (entry.isFile() && EXTENSIONS.includes(extname(entry.name).toLowerCase())) yield path
    }
  } catch (error) {
    refused.push(unreadable(folder, error))
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
}

function unreadable(path: string, error: unknown): Refused {
  const { code = '', message } = error as NodeJS.ErrnoException
  return { path, reason: REASONS[code] ?? message, exitCode: EXIT.document }
}

export const refusedText = ({ path, reason, exitCode }: Refused): string =>
  failureText({ exitCode, what: `${plain(path)}: ${reason}`, hint: '', fields: [] })
