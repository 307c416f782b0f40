import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rpcError } from '@docmesh/rpc'
import type { PackRef } from './analysis.ts'
import { repeated } from './repeated.ts'
import type { DocumentText } from './rules/document-text.ts'
import { foldText } from './rules/fold.ts'
import { type CompiledPack, loadPacks } from './rules/pack.ts'

/** The rule packs that analyses can use. */
export interface Packs {
  all(): readonly CompiledPack[]
  /** By `id` or `id@version`. Throws UNKNOWN_RULE_PACK. */
  find(name: string): CompiledPack
  /** YAML source of a shipped pack. */
  source(pack: CompiledPack): Promise<string>
  /** For a caller who named none. */
  choose(document: DocumentText): CompiledPack
}

const CONTRACT_TITLE = /\b(contrato|contract|agreement|convenio|termo aditivo)\b/
/** A contract says that it is one at its beginning. */
const TITLE_CHARS = 1_000

export async function openPacks(folder: string): Promise<Packs> {
  const loaded = await loadPacks(folder)
  const find = (name: string): CompiledPack => {
    const pack = loaded.get(name.replace(/@.*/s, ''))
    if (pack && (name === pack.id || name === `${pack.id}@${pack.version}`)) return pack
    const known = [...loaded.values()].map((each) => `${each.id}@${each.version}`).join(', ')
    throw rpcError('UNKNOWN_RULE_PACK', `There is no rule pack "${repeated(name)}"; there are ${known}.`, {
      resource: { type: 'rule pack', name: repeated(name) },
      fields: [{ field: 'options.rule_packs', description: `write one of ${known}` }],
    })
  }
  return {
    all: () => [...loaded.values()],
    find,
    source: ({ id }) => readFile(join(folder, `${id}.yaml`), 'utf8'),
    choose: ({ text }) =>
      find(CONTRACT_TITLE.test(foldText(text.slice(0, TITLE_CHARS))) ? 'core.contract' : 'core.document'),
  }
}

export const packRef = ({ id, version, hash }: CompiledPack): PackRef => ({ id, version, sha256: hash })
