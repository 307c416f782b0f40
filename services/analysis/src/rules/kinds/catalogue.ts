import { deadline } from './deadline.ts'
import { crossField, fieldPresent } from './fields.ts'
import type { Kind } from './kind.ts'
import { language, readability } from './language.ts'
import { moneyTotal } from './money-total.ts'
import { regex } from './regex.ts'
import { requiredSection } from './required-section.ts'
import { signature } from './signature.ts'
import { structure } from './structure.ts'
import { forbiddenTerm, requiredTerm } from './terms.ts'
import { date, hiddenContent, identifier, pii } from './values.ts'

export const KINDS: readonly Kind[] = [
  crossField,
  date,
  deadline,
  fieldPresent,
  forbiddenTerm,
  hiddenContent,
  identifier,
  language,
  moneyTotal,
  pii,
  readability,
  regex,
  requiredSection,
  requiredTerm,
  signature,
  structure,
]
