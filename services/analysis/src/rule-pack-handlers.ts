import type { RulePackServiceDefinition } from '@docmesh/contracts/analysis/v1/rule_pack'
import { type Handlers, pageFrom, readPage } from '@docmesh/rpc'
import { type Packs, packRef } from './packs.ts'
import type { CompiledPack } from './rules/pack.ts'
import { localeFrom, SEVERITIES } from './wire.ts'

/** RulePackService for the packs that come with the program. */
export function rulePackHandlers(packs: Packs): Handlers<typeof RulePackServiceDefinition> {
  const message = (pack: CompiledPack, locale: string) => {
    const language = localeFrom(locale)
    return {
      ref: packRef(pack),
      title: pack.title[language],
      extends: [...new Set(pack.rules.map(({ packId }) => packId))]
        .filter((id) => id !== pack.id)
        .map((id) => packRef(packs.find(id))),
      rules: pack.rules
        .filter(({ packId }) => packId === pack.id)
        .map(({ id, kind, severity, category, title, remediation, references }) => ({
          id,
          kind,
          severity: SEVERITIES[severity],
          category,
          title: title[language],
          remediation: remediation[language],
          references: references.map(({ label, url = '' }) => ({ title: label, url })),
        })),
      shipped: true,
    }
  }
  return {
    async listRulePacks(request) {
      const { size, after } = readPage(request, (key) => packs.all().some(({ id }) => id === key))
      const sorted = packs
        .all()
        .filter(({ id }) => id > after)
        .sort((a, b) => (a.id < b.id ? -1 : 1))
      const { items, nextPageToken } = pageFrom(sorted, size, ({ id }) => id)
      return { rulePacks: items.map((pack) => message(pack, request.locale)), nextPageToken }
    },
    async getRulePack({ name, locale }) {
      const pack = packs.find(name)
      return { rulePack: message(pack, locale), source: await packs.source(pack) }
    },
  }
}
