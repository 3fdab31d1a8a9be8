import type { Concurrency } from '../kit/concern.ts'
import type { Concern, Target } from '../kit/index.ts'
import { DEFAULT_PATH_POLICY, type PathPolicy } from '../lib/http/canonical-path.ts'
import { isObject, schemaOf } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'

/** The modules of a gateway, and the root options of those that are installed. */
interface Installed {
  readonly catalog: Catalog
  readonly options: Readonly<Record<string, unknown>>
}

/** Returns how paths are normalized before routing, from the concern with a `pathPolicy`. */
export const pathPolicyOf = (gateway: Installed): PathPolicy =>
  facetOf(gateway, 'pathPolicy') ?? DEFAULT_PATH_POLICY

/** Returns the origins that requests to an upstream, by its name or URL, are sent to; none if it compares paths byte by byte. */
export const originsOf = (gateway: Installed, nameOrUrl: string): readonly string[] =>
  facetOf(gateway, 'origins')?.(nameOrUrl) ?? []

/** Returns how many connections or requests a process handles at a time; undefined for no limit. */
export const concurrencyOf = (gateway: Installed): Concurrency | undefined => facetOf(gateway, 'concurrency')

/** Returns whether requests leave no state in a concern or a target with these options. */
export const isStateless = ({ stateless }: Concern | Target, options: unknown): boolean =>
  typeof stateless === 'function' ? stateless(options as never) : stateless === true

/** Returns the entries of the `named` concern, such as upstreams; empty if there are none. */
export function namedEntries({ catalog, options }: Installed): Readonly<Record<string, unknown>> {
  const concern = catalog.concerns.find(({ named }) => named === true)
  const entries = concern === undefined ? undefined : options[concern.key]
  return isObject(entries) ? entries : {}
}

/** Returns whether a concern controls access. */
export const guardsAccess = ({ guardsAccess: declared, gate, options }: Concern): boolean =>
  declared ?? gate ?? schemaOf(options, 'mode') !== undefined

/** Returns whether the gateway responds to preflights for a route with these options. */
export const answersPreflights = (
  { concerns }: Catalog,
  options: Readonly<Record<string, unknown>>
): boolean => concerns.some(({ key, preflights }) => preflights === true && isOn(options[key]))

/** Returns whether the session is a credential on a route with these options. */
export const usesSession = ({ concerns }: Catalog, options: Readonly<Record<string, unknown>>): boolean =>
  concerns.some(
    (concern) =>
      isObject(options[concern.key]) && concern.usesSession?.(options[concern.key] as never) === true
  )

const isOn = (options: unknown): boolean => options !== undefined && options !== false

type Facet = 'pathPolicy' | 'origins' | 'concurrency'

/** Calls a facet of the first installed concern that has it, with the root options of the concern. */
function facetOf<F extends Facet>(
  { catalog, options }: Installed,
  facet: F
): ReturnType<NonNullable<Concern[F]>> | undefined {
  const concern = catalog.concerns.find(
    (each) => each[facet] !== undefined && options[each.key] !== undefined
  )
  const ask = concern?.[facet] as ((options: unknown) => ReturnType<NonNullable<Concern[F]>>) | undefined
  return concern === undefined ? undefined : ask?.(options[concern.key])
}
