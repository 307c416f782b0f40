import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer } from 'smtp-server'

interface Mail {
  readonly from: string
  readonly to: readonly string[]
  /** Unfolded, encoded words decoded, by lower-case name. */
  readonly headers: ReadonlyMap<string, string>
  readonly text: string
  readonly html: string
}

export interface MailServer {
  readonly url: string
  readonly mails: Mail[]
  /** Asked for each recipient: resolves to accept, rejects to refuse, does neither to hang. */
  recipient: (address: string) => Promise<void>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** What a mail server answers, e.g. `smtpAnswer(550, 'no such mailbox')`. */
export const smtpAnswer = (responseCode: number, message: string): Error =>
  Object.assign(new Error(message), { responseCode })

/** A real SMTP server on the loopback that keeps what it accepts. */
export async function startMailServer({
  users,
}: {
  users?: Record<string, string>
} = {}): Promise<MailServer> {
  const mails: Mail[] = []
  const server = new SMTPServer({
    authOptional: users === undefined,
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    closeTimeout: 50,
    onAuth: ({ username = '', password }, _session, done) =>
      users?.[username] === password ? done(null, { user: username }) : done(new Error('wrong password')),
    onRcptTo: ({ address }, _session, done) => {
      mailServer.recipient(address).then(() => done(), done)
    },
    onData: (stream, { envelope }, done) => {
      text(stream).then((raw) => {
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address
        mails.push({ from, to: envelope.rcptTo.map(({ address }) => address), ...parse(raw) })
        done()
      }, done)
    },
  })
  server.on('error', () => {}) // clients that go away in the middle are part of the tests
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
  const mailServer: MailServer = {
    url: `smtp://127.0.0.1:${port}`,
    mails,
    recipient: async () => {},
    close,
    [Symbol.asyncDispose]: close,
  }
  return mailServer
}

function parse(raw: string): Pick<Mail, 'headers' | 'text' | 'html'> {
  const { headers, body } = part(raw)
  const boundary = /boundary="([^"]+)"/.exec(headers.get('content-type') ?? '')?.[1]
  const parts = body
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((one) => part(one.trimStart()))
  const bodyOf = (type: string): string => {
    const found = parts.find((one) => one.headers.get('content-type')?.startsWith(type))
    return found ? decodeBody(found.body, found.headers.get('content-transfer-encoding') ?? '') : ''
  }
  return { headers, text: bodyOf('text/plain'), html: bodyOf('text/html') }
}

function part(raw: string): { headers: Map<string, string>; body: string } {
  const end = raw.indexOf('\r\n\r\n')
  const lines = raw
    .slice(0, end)
    .replaceAll(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), decodeWords(line.slice(colon + 1).trim())]
    }),
  )
  return { headers, body: raw.slice(end + 4) }
}

const decodeQuoted = (encoded: string): string =>
  Buffer.from(
    encoded
      .replaceAll(/=\r\n/g, '')
      .replaceAll(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString()

const decodeBody = (body: string, encoding: string): string => {
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString()
  return encoding === 'quoted-printable' ? decodeQuoted(body) : body
}

const decodeWords = (value: string): string =>
  value
    .replaceAll(/\?=\s+=\?/g, '?==?')
    .replaceAll(/=\?UTF-8\?([BQ])\?([^?]*)\?=/gi, (_, kind, word) =>
      kind.toUpperCase() === 'B'
        ? Buffer.from(word, 'base64').toString()
        : decodeQuoted(word.replaceAll('_', ' ')),
    )
