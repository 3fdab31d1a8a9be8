import { addressFaults } from '../lib/http/address-lists.ts'
import { originOf } from '../lib/http/networks.ts'
import { isObject, prune } from '../lib/schema.ts'
import { withDefaults } from './defaults.ts'
import type { InterpolatedSource } from './interpolate.ts'
import { mergeOptions, NOT_MENTIONED, type OptionsState, ROOT_SCOPE } from './merge-options.ts'
import { expectation } from './messages.ts'
import { MATCH_ALL } from './module-checks.ts'
import { originsOf } from './origins.ts'
import type { PlanDraft } from './plan-draft.ts'
import { coreOptions, EXPECTED_ORIGIN } from './schema.ts'
import { validate } from './validate.ts'
import { faultIn, maskOf, type Written } from './written.ts'

/** The options of the main file. */
export type RootOptions = Readonly<Record<string, unknown>>

/** The state of each concern and target at the root. */
export interface RootState {
  readonly concerns: ReadonlyMap<string, OptionsState>
  readonly targets: ReadonlyMap<string, OptionsState>
}

/** Checks the options of the root that belong to no concern. */
export function readCore(draft: PlanDraft, source: InterpolatedSource, root: RootOptions): void {
  const { faults, catalog } = draft
  faults.addUnknownKeys(source, [], root, [
    ...Object.keys(coreOptions),
    'routes',
    ...catalog.concerns.map(({ key }) => key),
    ...catalog.targets.filter(({ rootDefaults }) => rootDefaults === true).map(({ key }) => key)
  ])
  for (const [key, schema] of Object.entries(coreOptions)) {
    if (root[key] === undefined) continue
    const written: Written = { source, path: [key], value: prune(schema, root[key]) }
    const found = validate(schema, written.value, maskOf(written))
    for (const fault of found) faults.add(faultIn(written, fault))
    // The pattern does not check the port and the host.
    if (key === 'publicUrl' && found.length === 0 && originOf(written.value) === undefined)
      faults.addAt(
        source,
        ['publicUrl'],
        expectation({ wanted: EXPECTED_ORIGIN, value: written.value, mask: maskOf(written)([]) })
      )
  }
  if (root['clientIp'] !== undefined && root['trustedProxies'] === undefined)
    faults.addAt(
      source,
      ['clientIp'],
      'expected "trustedProxies" beside it: only the header of a trusted proxy is believed'
    )
  draft.publicUrl = originOf(root['publicUrl'])
  const proxies = root['trustedProxies']
  if (!Array.isArray(proxies)) return
  const resolved = draft.resolveAddresses(coreOptions['trustedProxies'], proxies, source) as unknown[]
  draft.trustedProxies = resolved.filter((range) => typeof range === 'string')
  for (const { path, message } of addressFaults(resolved.map(String), ['trustedProxies']))
    faults.addAt(source, path, message.replaceAll(`${source.folder}/`, ''))
}

/** Adds the upstreams of a file; names are unique across all files. */
export function addUpstreams(draft: PlanDraft, source: InterpolatedSource, value: RootOptions): void {
  const concern = draft.catalog.concerns.find(({ named }) => named === true)
  const upstreams = concern === undefined ? undefined : value[concern.key]
  if (concern === undefined || upstreams === undefined) return
  const { key } = concern
  const { faults, checks, resolver } = draft
  const written: Written = { source, path: [key], value: upstreams }
  const state = mergeOptions(concern, NOT_MENTIONED, written, {
    scope: ROOT_SCOPE,
    isRoute: false,
    paths: [],
    faults
  })
  if (!isObject(upstreams)) return
  for (const name of Object.keys(upstreams))
    if (Object.hasOwn(draft.upstreams, name))
      faults.addAt(
        source,
        [key, name],
        `expected a name that is unique in the gateway, got "${name}" again; rename this upstream`
      )
  const options = resolver.resolveDefaults(concern, state)
  if (isObject(options)) checks.collectFiles(concern, options)
  checks.check({ module: concern, options, state, folder: source.folder, match: MATCH_ALL })
  draft.origins.set(key, [...(draft.origins.get(key) ?? []), ...(originsOf([[key, state]]).get(key) ?? [])])
  draft.upstreams = { ...draft.upstreams, ...(isObject(options) ? options : {}) }
}

/** Merges the root options of concerns and targets over the initial state. */
export function readRootState(draft: PlanDraft, source: InterpolatedSource, root: RootOptions): RootState {
  const place = { scope: ROOT_SCOPE, isRoute: false, paths: [] }
  const concerns = new Map<string, OptionsState>()
  for (const concern of draft.catalog.concerns) {
    const { key, named } = concern
    if (named === true) continue
    const initial: OptionsState = {
      ...NOT_MENTIONED,
      on: concern.always !== undefined,
      merged: concern.given?.(draft.env)
    }
    const written: Written = { source, path: [key], value: root[key] }
    concerns.set(key, written.value === undefined ? initial : draft.merge(concern, initial, written, place))
  }
  const targets = new Map<string, OptionsState>()
  for (const target of draft.catalog.targets) {
    const written: Written = { source, path: [target.key], value: root[target.key] }
    if (written.value !== undefined && target.rootDefaults === true)
      targets.set(target.key, draft.merge(target, NOT_MENTIONED, written, place))
  }
  for (const [key, origins] of originsOf(concerns)) draft.origins.set(key, origins)
  return { concerns, targets }
}

/** Resolves the root options of every concern that is installed: mentioned anywhere, or on by default. */
export function resolveRoot(draft: PlanDraft, states: RootState['concerns'], folder: string): void {
  const resolved: Record<string, unknown> = {}
  const isConfigured = (key: string): boolean => draft.enabled.has(key)
  for (const concern of draft.catalog.concerns) {
    const { key, always, named } = concern
    if (named === true) {
      resolved[key] = draft.upstreams
      continue
    }
    const isInstalled =
      isConfigured(key) || (typeof always === 'function' ? always(isConfigured) : always === true)
    if (!isInstalled) continue
    const state = states.get(key) ?? NOT_MENTIONED
    if (state.on) {
      const options = draft.resolver.resolveDefaults(concern, state)
      resolved[key] = options
      draft.checks.defer({ module: concern, options, state, folder, match: MATCH_ALL })
    }
    // Required options may be missing here: a route that switches the concern on is checked with its own.
    else
      resolved[key] = {
        ...(withDefaults(concern.options, prune(concern.options, state.merged ?? {})) as object),
        global: false
      }
  }
  draft.root = resolved
}

/** Returns a single value or a list as a list of strings. */
export const listOf = (value: unknown): string[] => (value === undefined ? [] : [value].flat().map(String))
