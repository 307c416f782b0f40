import { findIdentifiers, type IdentifierType } from '../rules/values/identifiers.ts'

const BARE_CPF = /(?<!\d)\d{11}(?!\d)/g

const hide = (text: string, keep: (index: number) => boolean): string => {
  let seen = 0
  return text.replace(/[\p{L}\d]/gu, (char) => (keep(seen++) ? char : '*'.repeat(char.length)))
}

const MASKS: Readonly<Partial<Record<IdentifierType, (text: string) => string>>> = {
  cpf: (text) => hide(text, (index) => index >= 3 && index < 9),
  card: (text) => hide(text, (index) => index >= text.replace(/\D/g, '').length - 4),
  phone: (text) => hide(text, (index) => index >= text.replace(/\D/g, '').length - 4),
  email: (text) => `${text.slice(0, 1)}${'*'.repeat(text.indexOf('@') - 1)}${text.slice(text.indexOf('@'))}`,
}

/** Hides CPF, card, phone and email, each character for one: offsets into the text stay true. */
export const mask = (text: string): string => {
  let masked = ''
  let from = 0
  for (const { type, start, end } of findIdentifiers(text)) {
    const hidden = MASKS[type]?.(text.slice(start, end))
    if (hidden === undefined || start < from) continue
    masked += text.slice(from, start) + hidden
    from = end
  }
  return (masked + text.slice(from)).replace(BARE_CPF, (digits) => hide(digits, (at) => at >= 3 && at < 9))
}
