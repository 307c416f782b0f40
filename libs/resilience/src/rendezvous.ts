const FNV_BASIS = 0x811c9dc5
const FNV_PRIME = 0x01000193
const TWO_32 = 4_294_967_296

/**
 * Rendezvous hashing: the score of `member` for `key`. The member with the highest score has the key; the `k` members
 * with the highest scores are the key's subset.
 *
 * All who know the same members agree without talking, the order of the list does not matter, and a member that leaves
 * moves only what it had, a member that joins takes only what it gets: the scores of the others do not change. Two uses:
 * a sticky key (key = the header's value) and a client's subset of a large service (key = the client's id; gRFC A68,
 * which sorts by an unweighted hash).
 *
 * D. Thaler and C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on Networking,
 * 1998. The weighted form is `−weight / ln(h)` with h uniform in (0, 1): `−ln(h) / weight` is exponential with rate
 * `weight`, and the least of several exponentials is each one with a probability proportional to its rate (the
 * logarithmic method of C. Schindelhauer and G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005). A change of
 * one weight moves keys only to or from that member. A weight of 0 scores 0, which never wins against another.
 *
 * `h = (hash + ½) / 2³²`, where `hash` is FNV-1a (32 bits, over UTF-8) of the key, started not from the usual basis but
 * from the member's own hash, and each of the two finalised by MurmurHash3's `fmix32`: FNV alone carries nothing from
 * high bits to low ones, so that similar names would score alike. Not for an adversary who can choose keys.
 */
export function rendezvousScore(key: string, member: string, weight = 100): number {
  const hash = fmix32(fnv1a(key, fmix32(fnv1a(member, FNV_BASIS))))
  return -weight / Math.log(((hash >>> 0) + 0.5) / TWO_32)
}

/** FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo) of the UTF-8 form of `text`, from a basis; encodes without allocating. */
function fnv1a(text: string, basis: number): number {
  let hash = basis
  for (let at = 0; at < text.length; at += 1) {
    const point = text.codePointAt(at) ?? 0
    if (point < 0x80) {
      hash = Math.imul(hash ^ point, FNV_PRIME)
      continue
    }
    if (point > 0xffff) at += 1
    for (const byte of utf8.encode(String.fromCodePoint(point))) hash = Math.imul(hash ^ byte, FNV_PRIME)
  }
  return hash
}

const utf8 = new TextEncoder()

/** The finaliser of MurmurHash3 (A. Appleby): each bit of the input changes each bit of the output half of the time. */
function fmix32(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
