import type { FastifyRequest } from 'fastify'
import { ProvenJson, parseJson } from '../../src/lib/body/json.ts'
import { type Path, parsePath, valueAt } from '../../src/lib/body/paths.ts'
import { TemplateError } from '../../src/lib/template-parts.ts'
import { template } from '../../src/lib/values.ts'

/** What references are resolved against, for one request or one item of a list. */
export interface Values {
  readonly request: FastifyRequest
  /** The results of the legs so far; a leg that has failed without a fallback has none. */
  readonly results: ReadonlyMap<string, LegValue>
  /** The client's body: the bytes, and their value where something reaches into it. */
  readonly body: ClientBody | undefined
  readonly item?: unknown
}

/** The body of the client's request. */
export interface ClientBody {
  readonly bytes: Buffer
  readonly value: unknown
}

/** The result of a leg: bytes that are copied as they came, their value, or both. */
export interface LegValue {
  readonly proven: ProvenJson | undefined
  readonly value: unknown
}

/** Returns the value of a reference; undefined where there is none. */
export type ReadValue = (values: Values) => unknown

/** A reference, read. */
export interface Reference {
  readonly kind: 'leg' | 'item' | 'body' | 'request'
  /** The leg that it names. */
  readonly leg: string | undefined
  /** Whether it reaches into the value, instead of taking all of it. */
  readonly reaches: boolean
  readonly read: ReadValue
}

/** Reads a reference such as `legs.user.id`, `item.id`, `body.x` or `caller.id`; throws a TemplateError. */
export function reference(text: string): Reference {
  const [kind = ''] = text.split('.', 1)
  const rest = text.slice(kind.length + 1)
  if (kind === 'legs') return legReference(text, rest)
  const path = rest === '' ? [] : parsePath(rest)
  const reaches = path.length > 0
  if (kind === 'item') return { kind, leg: undefined, reaches, read: ({ item }) => valueAt(item, path) }
  if (kind === 'body')
    return { kind, leg: undefined, reaches, read: ({ body }) => valueAt(body?.value, path) }
  const value = template(`{${text}}`)
  return {
    kind: 'request',
    leg: undefined,
    reaches: false,
    read: ({ request }) => value.renderWhole(request)
  }
}

function legReference(text: string, rest: string): Reference {
  const [name = ''] = rest.split('.', 1)
  if (name === '')
    throw new TemplateError(`expected the name of a leg, such as "{legs.user}", got "{${text}}"`)
  const after = rest.slice(name.length + 1)
  const path: Path = after === '' ? [] : parsePath(after)
  const reaches = path.length > 0
  return {
    kind: 'leg',
    leg: name,
    reaches,
    read({ results }) {
      const result = results.get(name)
      if (result === undefined) return undefined
      return reaches ? valueAt(result.value, path) : (result.proven ?? result.value)
    }
  }
}

/** Returns a value where bytes would be copied. */
export const plainValue = (value: unknown): unknown =>
  value instanceof ProvenJson ? parseJson(value.text) : value
