export const IDENTIFIER_TYPES = ['cpf', 'cnpj', 'iban', 'card', 'email', 'phone'] as const
export type IdentifierType = (typeof IDENTIFIER_TYPES)[number]

export interface Identifier {
  readonly type: IdentifierType
  readonly start: number
  readonly end: number
  /** The check digits agree; always true where the type has none. */
  readonly valid: boolean
}

const digitsOf = (text: string): number[] => [...text].map((char) => char.charCodeAt(0) - 48)

const modulo11 = (values: readonly number[], highest: number): number => {
  const sum = values.reduce((total, value, index) => {
    const weight = ((values.length - 1 - index) % (highest - 1)) + 2
    return total + value * weight
  }, 0)
  return sum % 11 < 2 ? 0 : 11 - (sum % 11)
}

const checkDigits = (code: string, body: number, highest: number): boolean => {
  const values = digitsOf(code)
  const first = modulo11(values.slice(0, body), highest)
  const second = modulo11([...values.slice(0, body), first], highest)
  return values[body] === first && values[body + 1] === second
}

const strip = (text: string): string => text.replace(/[^A-Za-z0-9]/g, '').toUpperCase()
const repeats = (code: string): boolean => /^(.)\1*$/.test(code)

/** Receita Federal: two digits, modulo 11, weights from 2 to the right end. */
export const isCpf = (text: string): boolean => {
  const code = strip(text)
  return /^\d{11}$/.test(code) && !repeats(code) && checkDigits(code, 9, 12)
}

/** Instrução Normativa RFB 2.229/2024: letters and digits since July 2026, each worth its ASCII code − 48. */
export const isCnpj = (text: string): boolean => {
  const code = strip(text)
  return /^[0-9A-Z]{12}\d{2}$/.test(code) && !repeats(code) && checkDigits(code, 12, 9)
}

/** ISO 13616: country and check digits to the end, letters as 10 to 35, modulo 97 leaves 1. */
export const isIban = (text: string): boolean => {
  const code = strip(text)
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(code)) return false
  const digits = [...code.slice(4), ...code.slice(0, 4)].map((char) => Number.parseInt(char, 36)).join('')
  let rest = 0
  for (const digit of digits) rest = (rest * 10 + Number(digit)) % 97
  return rest === 1
}

/** ISO/IEC 7812-1: the Luhn formula, with the prefixes of payment cards. */
export const isCard = (text: string): boolean => {
  const code = strip(text)
  if (!/^(?:4|5[1-5]|2[2-7]|3[47]|6(?:011|5|36))\d{9,17}$/.test(code) || repeats(code)) return false
  const sum = digitsOf(code)
    .reverse()
    .reduce((total, digit, index) => {
      const doubled = digit * 2
      return total + (index % 2 === 0 ? digit : doubled > 9 ? doubled - 9 : doubled)
    }, 0)
  return sum % 10 === 0
}

interface Shape {
  readonly type: IdentifierType
  readonly pattern: RegExp
  readonly valid: (text: string) => boolean
  /** Without valid check digits it is some other number. */
  readonly mustBeValid?: boolean
}

/** Bare numbers count only after their name; the `value` group is the identifier. */
const SHAPES: readonly Shape[] = [
  {
    type: 'cpf',
    pattern: /(?<![\d.])(?<value>\d{3}\.\d{3}\.\d{3}-\d{2})(?!\d)|\bCPF\b\D{0,15}(?<bare>\d{11})(?!\d)/dgi,
    valid: isCpf,
  },
  {
    type: 'cnpj',
    pattern:
      /(?<![\w.])(?<value>[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}\/[0-9A-Z]{4}-\d{2})(?!\d)|\bCNPJ\b[^\dA-Z]{0,15}(?<bare>[0-9A-Z]{12}\d{2})(?!\w)/dg,
    valid: isCnpj,
  },
  {
    type: 'iban',
    pattern: /\bIBAN\b[^\w]{0,10}(?<value>[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8})\b/dg,
    valid: isIban,
  },
  {
    type: 'card',
    pattern: /(?<![\d.,-])(?<value>\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|\d{4}[ -]?\d{6}[ -]?\d{5})(?![\d-])/dg,
    valid: isCard,
    mustBeValid: true,
  },
  {
    type: 'email',
    pattern: /(?<![\w.+-])(?<value>[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4})(?!\w)/dg,
    valid: () => true,
  },
  {
    type: 'phone',
    pattern:
      /(?<![\w.+/-])(?<value>(?:\+\d{1,3}[ .-]?)?(?:\(\d{2}\)|(?<=\+\d{1,3}[ .-]?)\d{2,3}|\d{2}(?= 9?\d{4}-))[ .-]?9?\d{3,4}[ .-]?\d{4})(?![\d/-])/dg,
    valid: () => true,
  },
]

export const findIdentifiers = (text: string): readonly Identifier[] => {
  const found: Identifier[] = []
  for (const { type, pattern, valid, mustBeValid } of SHAPES) {
    for (const match of text.matchAll(pattern)) {
      const indices = match.indices?.groups
      const span = indices?.value ?? indices?.bare
      if (span === undefined) continue
      const [start, end] = span
      const agrees = valid(text.slice(start, end))
      if (agrees || mustBeValid !== true) found.push({ type, start, end, valid: agrees })
    }
  }
  return found.sort((a, b) => a.start - b.start || b.end - a.end)
}
