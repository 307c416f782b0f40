import * as crypto from 'node:crypto'

/** A new UUIDv7 (RFC 9562): sorts by the time it was made. The types of Node do not know it yet. */
export const newId: () => string = (crypto as unknown as { randomUUIDv7(): string }).randomUUIDv7
