import { mkdir, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import type { Io } from './io.ts'
import { plain } from './render/text.ts'
import { EXTENSIONS, type Format, joinReports } from './report-format.ts'

export interface Report {
  /** As the user named it. */
  readonly file: string
  readonly text: string
}

/**
 * One file: the report goes to `output`, or to stdout. Several, or when `output` is a folder or ends like one: it gets one
 * report each; without `output` they go to stdout as one document of the format.
 */
export async function writeReports(
  reports: readonly Report[],
  { format, output, several }: { format: Format; output: string | undefined; several: boolean },
  io: Io,
): Promise<void> {
  if (output === undefined) {
    const texts = reports.map(({ text }) => text)
    io.stdout.write(format === 'html' ? texts.join('') : joinReports(format, texts, several))
    return
  }
  const inFolder = several || output.endsWith(sep) || (await isFolder(output))
  await mkdir(inFolder ? output : dirname(output), { recursive: true })
  const taken = new Set<string>()
  for (const { file, text } of reports) {
    const target = inFolder ? join(output, reportName(file, EXTENSIONS[format], taken)) : output
    await writeFile(target, text)
    io.stderr.write(`report written to ${plain(target)}\n`)
  }
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

/** `contract.pdf.json`; two files of the same name in different folders get a number. */
function reportName(file: string, extension: string, taken: Set<string>): string {
  const stem = file === '-' ? 'stdin' : basename(file)
  let name = `${stem}.${extension}`
  for (let number = 2; taken.has(name); number++) name = `${stem}-${number}.${extension}`
  taken.add(name)
  return name
}
