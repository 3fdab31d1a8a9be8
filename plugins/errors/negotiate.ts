import { BUILTIN } from './builtin-bodies.ts'
import { type BodyKind, type ErrorBody, kindOf, mediaTypeOf } from './error-body.ts'
import type { ErrorsOptions } from './options.ts'

/** The bodies that an error may have beside the built-in ones. */
export interface BodyOffer {
  /** The configured ones, the most specific first. */
  readonly own: readonly ErrorBody[]
  /** What is sent if the Accept header allows several. */
  readonly format: ErrorsOptions['format']
}

/** Chooses a body by an Accept header: the type with the highest weight wins (RFC 9110 section 12.5.1). */
export function chooseBody(accept: string | undefined, offer: BodyOffer): ErrorBody {
  let best: ErrorBody | undefined
  let highest = 0
  for (const range of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...params] = range.split(';').map((part) => part.trim())
    const candidate = bodyFor(type, offer)
    const weight = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1)
    if (candidate !== undefined && weight > highest) [best, highest] = [candidate, weight]
  }
  return best ?? usualBody(offer)
}

function bodyFor(type: string, offer: BodyOffer): ErrorBody | undefined {
  if (type === '*/*') return usualBody(offer)
  if (type === 'application/*') return ofKind('problem+json', offer)
  if (type === 'text/*') return ofKind('text', offer)
  const kind = kindOf(type)
  return (
    offer.own.find((body) => mediaTypeOf(body) === type) ??
    (kind === undefined ? undefined : ofKind(kind, offer))
  )
}

const ofKind = (kind: BodyKind, { own }: BodyOffer): ErrorBody | undefined =>
  own.find((body) => body.kind === kind) ?? (kind === 'xml' ? undefined : BUILTIN[kind])

/** Returns the body for clients that accept any: one of the format, but a configured one rather than built-in JSON, except a page. */
function usualBody({ own, format }: BodyOffer): ErrorBody {
  const configured = own.find(({ kind }) => kind === format)
  if (configured !== undefined || format !== 'problem+json') return configured ?? BUILTIN[format]
  return own.find(({ kind }) => kind !== 'html') ?? BUILTIN[format]
}
