import { createError } from '../../src/kit/index.ts'
import {
  firstOf,
  type Invalid,
  MAX_ERRORS,
  type SchemaError
} from '../../src/lib/body/json-schema/schema-errors.ts'
import type { Refusal } from '../../src/lib/refusals.ts'

/** Something in the request does not match its schema. */
export const RequestInvalid = createError(
  'SP_ERR_VALIDATE_INVALID',
  'Invalid request: it does not match the schema of this route',
  400
)
/** The body has a media type or a charset that the route does not declare. */
export const MediaUndeclared = createError<[string]>(
  'SP_ERR_VALIDATE_MEDIA',
  'Unsupported media type of the body: this route takes %s',
  415
)
/** The body has a content coding that can't be decoded to validate it. */
export const CodingUnsupported = createError(
  'SP_ERR_VALIDATE_CODING',
  'Unsupported content coding of the body: this route takes gzip, br, zstd and deflate, one at a time',
  415
)

/** The OpenAPI document of the route has no such path. */
export const PathUndeclared = createError(
  'SP_ERR_VALIDATE_PATH',
  'Not found: the API of this route has no such path',
  404
)
/** The OpenAPI document of the route has the path, but not the method. */
export const MethodUndeclared = createError<[string]>(
  'SP_ERR_VALIDATE_METHOD',
  'Method %s not allowed for this path',
  405
)

/** The part of a request that is wrong. */
export type Part = 'params' | 'query' | 'headers' | 'cookies' | 'body'

interface RequestError extends SchemaError {
  readonly in: Part
}

/** Collects what is wrong with a request, part by part. */
export class RequestErrors {
  readonly #errors: RequestError[] = []
  #more = 0

  get isEmpty(): boolean {
    return this.#errors.length === 0
  }

  /** Adds what a schema finds, below a name if it stands for one parameter alone. */
  add(part: Part, found: Invalid | undefined, name = ''): void {
    if (found === undefined) return
    this.#more += found.more
    for (const { pointer, keyword, detail } of found.errors)
      this.#errors.push({ in: part, pointer: `#${name}${pointer.slice(1)}`, keyword, detail })
  }

  /** Makes the refusal that lists them. */
  refusal(): Refusal {
    const order: readonly Part[] = ['params', 'query', 'headers', 'cookies', 'body']
    const sorted = order.flatMap((part) => {
      const { errors, more } = firstOf(this.#errors.filter((error) => error.in === part))
      this.#more += more
      return errors
    })
    const errors = sorted.slice(0, MAX_ERRORS)
    const more = this.#more + sorted.length - errors.length
    const refusal: Refusal = new RequestInvalid()
    refusal.members = { errors, ...(more > 0 ? { more } : {}) }
    refusal.lines = [
      ...errors.map(({ in: part, pointer, detail }) => `${part} ${pointer}: ${detail}`),
      ...(more > 0 ? [`and ${more} more`] : [])
    ]
    return refusal
  }
}

/** Describes one thing that is wrong, which no schema tells. */
export const oneError = (keyword: string, detail: string, pointer = '#'): Invalid => ({
  errors: [{ pointer, keyword, detail }],
  more: 0
})
