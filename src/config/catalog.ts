import type { FastifyInstance } from 'fastify'
import type { BuiltinContext, BuiltinRoute } from '../kit/builtin.ts'
import type { Expansion } from '../kit/expansion.ts'
import type { Concern, Target } from '../kit/index.ts'

/** The concerns and targets that a config may use; src/config knows none of them by name. */
export interface Catalog {
  /** The concerns in the order in which they run. */
  readonly concerns: readonly Concern[]
  readonly targets: readonly Target[]
  /** The keys of the third-party modules among them; undefined for none. */
  readonly extensionKeys?: ReadonlySet<string>
  /** The files of third-party modules, by key. */
  readonly extensionFiles?: ReadonlyMap<string, string>
  /** The built-in routes. */
  readonly builtin: {
    readonly routes: (plan: BuiltinContext) => readonly BuiltinRoute[]
    /** Prepares the Fastify context that they share. */
    readonly prepare?: (app: FastifyInstance) => void
  }
}

/** Returns the options of groups that add routes to them. */
export const expansionsOf = ({ concerns }: Pick<Catalog, 'concerns'>): readonly Expansion[] =>
  concerns.flatMap(({ expand }) => expand ?? [])
