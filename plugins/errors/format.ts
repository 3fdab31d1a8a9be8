import { readFileSync } from 'node:fs'
import { escapeHtml } from '../../src/lib/html.ts'
import { HTML } from '../../src/lib/http/page.ts'
import { statusRange } from '../../src/lib/http/statuses.ts'
import { setBounded } from '../../src/lib/memoize.ts'
import { compileBodies } from './bodies.ts'
import { type ErrorBody, mediaTypeOf } from './error-body.ts'
import { type BodyOffer, chooseBody } from './negotiate.ts'
import type { ErrorsOptions } from './options.ts'
import type { Problem } from './problem.ts'

/** Returns the body of an error that a client gets, by its Accept header. */
export type ErrorFormat = (problem: Pick<Problem, 'status' | 'code'>, accept: string | undefined) => ErrorBody

/** Selects some errors: those with a code, or with a status. */
interface Selector {
  /** How many statuses it is for; 0 for a code. */
  readonly width: number
  readonly holds: (problem: Pick<Problem, 'status' | 'code'>) => boolean
}

interface Entry extends Selector {
  readonly bodies: ReadonlyMap<string, ErrorBody>
}

/** Compiles the error format of a route: a body for a code wins over one for a status, and one for fewer statuses over one for more. */
export function compileFormat({ format, pages, bodies }: ErrorsOptions): ErrorFormat {
  const entries = [
    ...Object.entries(bodies).map(([errors, each]) => entryOf(errors, compileBodies(each))),
    ...Object.entries(pages).map(([statuses, file]) => entryOf(statuses, pageBodies(file)))
  ].sort((one, other) => one.width - other.width)
  const offers = new Map<string, BodyOffer>()
  return (problem, accept) => {
    const key = `${problem.status} ${problem.code}`
    let offer = offers.get(key)
    if (offer === undefined) {
      offer = offerOf(entries, problem, format)
      setBounded(offers, key, offer)
    }
    return chooseBody(accept, offer)
  }
}

const entryOf = (errors: string, bodies: Entry['bodies']): Entry => ({ ...selectorOf(errors), bodies })

/** Returns which errors a code, a status, a class or a range selects. */
export function selectorOf(errors: string): Selector {
  if (errors.startsWith('SP_')) return { width: 0, holds: ({ code }) => code === errors }
  const [first, last] = statusRange(errors)
  return { width: last - first + 1, holds: ({ status }) => status >= first && status <= last }
}

function offerOf(
  entries: readonly Entry[],
  problem: Pick<Problem, 'status' | 'code'>,
  format: ErrorsOptions['format']
): BodyOffer {
  const own = new Map<string, ErrorBody>()
  for (const { holds, bodies } of entries)
    if (holds(problem)) for (const [type, body] of bodies) if (!own.has(type)) own.set(type, body)
  return { own: [...own.values()], format }
}

const PLACEHOLDER = /\{(status|title|detail|code|requestId)\}/

// Only these five names are replaced; other braces belong to styles and scripts.
function pageBodies(file: string): Entry['bodies'] {
  const parts = readFileSync(file, 'utf8').split(PLACEHOLDER)
  const page: ErrorBody = {
    kind: 'html',
    type: HTML,
    render: ({ problem }) =>
      parts
        .map((part, i) => (i % 2 === 0 ? part : escapeHtml(String(problem[part as keyof Problem] ?? ''))))
        .join('')
  }
  return new Map([[mediaTypeOf(page), page]])
}
