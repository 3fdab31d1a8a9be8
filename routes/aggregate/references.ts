import type { FastifyRequest } from 'fastify'
import { type ProvenJson, parseJson } from '../../src/lib/body/json.ts'
import { type Path, parsePath, valueAt } from '../../src/lib/body/paths.ts'
import { TemplateError } from '../../src/lib/template-parts.ts'
import { template } from '../../src/lib/values.ts'

/** What references are resolved against, for one request or one item of a list. */
export interface Values {
  readonly request: FastifyRequest
  /** The results of the legs so far; a leg that has failed without a fallback has none. */
  readonly results: ReadonlyMap<string, LegValue>
  /** The client's body; undefined where nothing uses it. */
  readonly body: ClientBody | undefined
  readonly item?: unknown
}

/** The body of the client's request. */
export interface ClientBody {
  readonly bytes: Buffer
  /** Its value; undefined where nothing reaches into it. */
  readonly value: unknown
}

/** The result of a leg: bytes that are copied as they came, their value, or both. */
export interface LegValue {
  readonly proven: ProvenJson | undefined
  /** The value; undefined where only the bytes are there. */
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
  /** Like `read`, but returns a ProvenJson where all of a leg is copied as it came. */
  readonly copy: ReadValue
}

/** Reads a reference such as `legs.user.id`, `item.id`, `body.x` or `caller.id`; throws a TemplateError. */
export function reference(text: string): Reference {
  const [kind = ''] = text.split('.', 1)
  const rest = text.slice(kind.length + 1)
  if (kind === 'legs') return legReference(text, rest)
  if (kind === 'item' || kind === 'body') {
    const path = rest === '' ? [] : parsePath(rest)
    const read: ReadValue =
      kind === 'item' ? ({ item }) => valueAt(item, path) : ({ body }) => valueAt(body?.value, path)
    return { kind, leg: undefined, reaches: path.length > 0, read, copy: read }
  }
  const value = template(`{${text}}`)
  const read: ReadValue = ({ request }) => value.renderWhole(request)
  return { kind: 'request', leg: undefined, reaches: false, read, copy: read }
}

function legReference(text: string, rest: string): Reference {
  const [name = ''] = rest.split('.', 1)
  if (name === '')
    throw new TemplateError(`expected the name of a leg, such as "{legs.user}", got "{${text}}"`)
  const after = rest.slice(name.length + 1)
  const path: Path = after === '' ? [] : parsePath(after)
  const read: ReadValue = ({ results }) => {
    const result = results.get(name)
    return result === undefined ? undefined : valueAt(resultValue(result), path)
  }
  if (path.length > 0) return { kind: 'leg', leg: name, reaches: true, read, copy: read }
  const copy: ReadValue = ({ results }) => {
    const result = results.get(name)
    return result?.proven ?? result?.value
  }
  return { kind: 'leg', leg: name, reaches: false, read, copy }
}

/** Returns the value of a result, parsed where only its bytes are there. */
export const resultValue = ({ proven, value }: LegValue): unknown =>
  value === undefined && proven !== undefined ? parseJson(proven.text) : value
