/** What gRPC clients take in one message by default, less room for what else is in it. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024 - 64 * 1024

interface Codec<Partial, Message> {
  fromPartial(message: Partial): Message
  encode(message: Message): { finish(): Uint8Array }
}

/** How many of these messages fit into one page; one always does. */
export function fitting<Partial, Message>(
  messages: readonly Partial[],
  { fromPartial, encode }: Codec<Partial, Message>,
): number {
  let bytes = 0
  const tooMany = messages.findIndex((message) => {
    bytes += encode(fromPartial(message)).finish().length
    return bytes > MAX_PAGE_BYTES
  })
  return tooMany === -1 ? messages.length : Math.max(1, tooMany)
}
