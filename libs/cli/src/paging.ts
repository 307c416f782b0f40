import { type Command, Option } from 'commander'
import type { GlobalOptions } from './cli.ts'
import type { Io } from './io.ts'
import { pageSize } from './parse.ts'

export interface PageOptions extends GlobalOptions {
  readonly pageSize?: number
  readonly pageToken?: string
  readonly json?: boolean
}

/** The options of every list. */
export const withPaging = (command: Command): Command =>
  command
    .addOption(new Option('--page-size <number>', 'most entries in the answer (50)').argParser(pageSize))
    .option('--page-token <token>', 'the next page, as the previous one named it')
    .option('--json', 'proto3 JSON')

/** Tells how to get the next page, apart from the result. */
export function morePages({ stderr }: Io, { nextPageToken }: { readonly nextPageToken: string }): void {
  if (nextPageToken) stderr.write(`more: --page-token ${nextPageToken}\n`)
}

export const jsonText = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`
