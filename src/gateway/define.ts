import type { Static, TSchema } from 'typebox'
import type { concerns } from '../../plugins/index.ts'
import type { targets } from '../../routes/index.ts'
import type { ConditionSet } from '../lib/conditions/options.ts'
import type { Override } from '../lib/schema.ts'

type AnyConcern = (typeof concerns)[number]
type AnyTarget = (typeof targets)[number]
type OptionsOf<Module> = Module extends { readonly options: infer Schema extends TSchema }
  ? Static<Schema>
  : never

/** What a config can set of a concern: its options, or true and false to switch it. */
export type ConcernOption<Module> = Module extends { readonly named: true }
  ? OptionsOf<Module> extends Readonly<Record<string, infer Entry>>
    ? Readonly<Record<string, Override<Entry>>>
    : never
  : Override<OptionsOf<Module>> | TextOf<Module> | boolean

/** The texts that stand for options. */
type TextOf<Module> = Module extends { readonly shorthand: infer Option }
  ? Extract<OptionsOf<Module>[Option & keyof OptionsOf<Module>], string>
  : never

type ConcernOptions<Module extends AnyConcern> = { [Each in Module as Each['key']]?: ConcernOption<Each> }
/** The options of groups that add routes to them. */
type AnyExpansion = Extract<AnyConcern, { readonly expand: unknown }>['expand']
type ExpansionOptions = { [Each in AnyExpansion as Each['key']]?: Static<Each['options']> }

type TargetOptions<Module extends AnyTarget> = { [Each in Module as Each['key']]?: Override<OptionsOf<Each>> }

/** The options of extensions, which declare theirs by merging into this interface. */
// biome-ignore lint/suspicious/noEmptyInterface: extensions add their options to it
export interface ExtensionOptions {}

interface UserKeys {
  [key: `x-${string}`]: unknown
}

/** A route, or a group of routes. */
export interface RouteConfig
  extends ConcernOptions<Exclude<AnyConcern, { readonly override: false }>>,
    TargetOptions<AnyTarget>,
    ExpansionOptions,
    ExtensionOptions,
    UserKeys {
  name?: string
  path?: string | readonly string[]
  host?: string | readonly string[]
  methods?: readonly string[]
  enabled?: boolean
  locked?: readonly string[]
  when?: ConditionSet | readonly ConditionSet[]
  include?: string
  routes?: readonly RouteConfig[]
}

/** A whole config, typed from the same schemas that validate it. */
export interface GatewayConfig
  extends ConcernOptions<AnyConcern>,
    TargetOptions<Extract<AnyTarget, { readonly rootDefaults: true }>>,
    ExtensionOptions,
    UserKeys {
  $schema?: string
  extensions?: readonly { module: string; before?: string; after?: string }[]
  publicUrl?: string
  trustedProxies?: readonly string[]
  clientIp?: `header:${string}`
  routes: readonly RouteConfig[]
}

/** Returns a config unchanged and gives it its type, so that an editor completes and checks it. */
export const defineConfig = (config: GatewayConfig): GatewayConfig => config
