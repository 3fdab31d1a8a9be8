import type { JsonObject } from '../json.ts'
import type { Place } from '../places.ts'
import type { SourceLine } from '../source-text.ts'
import type { Translation } from '../translation.ts'

/** What the middlewares of a router make of a route at a place. */
export interface Visit {
  readonly translation: Translation
  readonly place: Place
  readonly hosts: readonly string[]
  readonly route: JsonObject
  /** Options that belong to the `proxy` of the route. */
  readonly proxy: JsonObject
  /** Options that belong to the upstream. */
  readonly upstream: JsonObject
  readonly doubts: { line: SourceLine; text: string }[]
  /** The path as the service sees it. */
  base: string
  /** A path in place of the whole one. */
  whole: string | undefined
}
