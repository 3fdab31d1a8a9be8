import type { JsonObject } from '../../json.ts'
import type { SourceLine } from '../../source-text.ts'
import type { Translation } from '../../translation.ts'
import type { Issuer } from '../consumers.ts'

/** What a plugin is translated into. */
export interface RouteContext {
  /** The route that the plugin holds for. */
  readonly route: JsonObject
  readonly translation: Translation
  readonly issuers: readonly Issuer[]
  /** Closes the route, once all that it has is translated: something that could refuse requests has no translation. */
  readonly close: (line: SourceLine, text: string) => void
  /** Consumers whose requests are all refused, which is how Kong refuses anonymous ones. */
  readonly terminated: ReadonlySet<string>
}
