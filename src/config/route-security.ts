import type { AddedRoute, FromSecurity, WantedSecurity } from '../kit/expansion.ts'
import type { Concern } from '../kit/index.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import type { InterpolatedSource } from './interpolate.ts'
import type { Level } from './levels.ts'
import { NOT_MENTIONED, type OptionsState } from './merge-options.ts'
import type { PlanDraft } from './plan-draft.ts'

/** A concern of a group that asks for the security of the routes that are added. */
interface Asking {
  readonly concern: Concern
  readonly state: OptionsState
  readonly options: object
  /** The path of the option that asks. */
  readonly path: FromSecurity['path']
}

// A warning names this many routes and counts the others.
const MAX_NAMES = 5

/** The security of the routes that an option adds to a group, where a concern of the group asks for it. */
export class RouteSecurity {
  readonly #draft: PlanDraft
  readonly #level: Level
  readonly #source: InterpolatedSource
  readonly #asking: readonly Asking[]
  /** The levels by what is wanted: routes that want the same share their options. */
  readonly #levels = new Map<string, Level>()
  readonly #told = new Set<string>()
  readonly #undeclared: string[] = []
  #wantsAny = false

  constructor(draft: PlanDraft, level: Level, source: InterpolatedSource) {
    this.#draft = draft
    this.#level = level
    this.#source = source
    this.#asking = draft.catalog.concerns.flatMap((concern) => this.#ask(concern) ?? [])
  }

  /** Returns the level of a route: that of the group, with the options for its security. */
  levelFor({ name, security }: AddedRoute): Level {
    if (this.#asking.length === 0 || security === undefined) return this.#level
    const [first, ...others] = security
    if (first === undefined) return this.#level
    const key = keyOf(first)
    if (security.some(({ isDeclared }) => !isDeclared)) this.#undeclared.push(name)
    if (security.some(({ alternatives }) => alternatives.some((each) => each.length > 0)))
      this.#wantsAny = true
    const other = others.find((each) => keyOf(each) !== key)
    if (other !== undefined)
      this.#tell(
        `expected the same security for operations that are one route, got others for ${first.origin()} and ${other.origin()}`
      )
    return getOrCreate(this.#levels, key, () => this.#levelOf(first))
  }

  /** Returns warnings once all routes are added; a document that wants nothing at all is an error. */
  warnings(): string[] {
    if (this.#asking.length === 0 || this.#levels.size === 0) return []
    if (!this.#wantsAny && this.#told.size === 0)
      this.#tell('expected a document with operations that want security, got one with none')
    const names = this.#undeclared.slice(0, MAX_NAMES).join(', ')
    const more = this.#undeclared.length - MAX_NAMES
    return names === ''
      ? []
      : [
          `public, since neither the operation nor the document has "security": ${names}${more > 0 ? ` and ${more} more` : ''}; "security": [] on the operation says that it is meant`
        ]
  }

  #ask(concern: Concern): Asking | undefined {
    const state = this.#level.concerns.get(concern.key) ?? NOT_MENTIONED
    if (concern.fromSecurity === undefined || !(state.on || isLeftToRoutes(state))) return undefined
    const { resolver } = this.#draft
    const options = resolver.resolveDefaults(concern, state)
    if (!isObject(options) || !resolver.isValid(options)) return undefined
    const asked = concern.fromSecurity(options as never, [])
    return asked === undefined ? undefined : { concern, state, options, path: asked.path }
  }

  #levelOf({ alternatives, fault, origin }: WantedSecurity): Level {
    if (fault !== undefined) this.#tell(`${fault}, at ${origin()}`)
    const concerns = new Map(this.#level.concerns)
    for (const { concern, state, options } of this.#asking) {
      const made = concern.fromSecurity?.(options as never, alternatives)
      if (made === undefined) continue
      for (const message of made.faults) this.#tell(message, origin)
      // What is not known is told, and not checked further.
      const value = made.faults.length > 0 || fault !== undefined ? false : made.options
      const written = { source: this.#source, path: [], value }
      concerns.set(concern.key, this.#draft.merge(concern, state, written, { ...this.#level, isRoute: true }))
    }
    return { ...this.#level, concerns }
  }

  /** Adds an error, once, at the options that ask. */
  #tell(message: string, origin?: () => string): void {
    if (this.#told.has(message)) return
    this.#told.add(message)
    const { faults, resolver } = this.#draft
    const place = origin === undefined ? '' : `, at ${origin()}`
    for (const { concern, state, path } of this.#asking)
      faults.add(resolver.locate(concern, state, { path, message: `${message}${place}` }))
  }
}

// With `"global": false` a route asks for itself, and the security of an operation does.
function isLeftToRoutes({ written }: OptionsState): boolean {
  const value = written.at(-1)?.value
  return isObject(value) && value['global'] === false
}

const keyOf = ({ alternatives, fault }: WantedSecurity): string => JSON.stringify([alternatives, fault])
