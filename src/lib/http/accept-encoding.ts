import { weightsOf } from './accept.ts'

/** A content coding that the gateway can give to a response (RFC 9110 section 8.4.1, RFC 7932, RFC 8878). */
export type ContentCoding = 'zstd' | 'br' | 'gzip'

/** What a client accepts. */
export interface AcceptedCoding {
  /** The coding that it prefers; undefined where it prefers none. */
  readonly coding: ContentCoding | undefined
  /** Whether it takes a body without a coding: not with `identity;q=0`. */
  readonly identity: boolean
}

/** What a client accepts that gets no coding. */
export const IDENTITY: AcceptedCoding = { coding: undefined, identity: true }

/** Chooses a coding by an Accept-Encoding header (RFC 9110 section 12.5.3): the highest weight wins, the first of the list on a tie. */
export function acceptedCoding(header: string, codings: readonly ContentCoding[]): AcceptedCoding {
  const weights = weightsOf(header)
  const others = weights.get('*')
  const identity = weights.get('identity') ?? others
  let coding: ContentCoding | undefined
  // A body without a coding is sent only where it weighs more.
  let highest = identity ?? 0
  for (const each of codings) {
    const weight = weights.get(each) ?? aliasWeight(weights, each) ?? others ?? 0
    if (weight === 0 || weight < highest || (weight === highest && coding !== undefined)) continue
    coding = each
    highest = weight
  }
  return { coding, identity: identity !== 0 }
}

// RFC 9110 section 8.4.1.3.
const aliasWeight = (weights: ReadonlyMap<string, number>, coding: ContentCoding): number | undefined =>
  coding === 'gzip' ? weights.get('x-gzip') : undefined
