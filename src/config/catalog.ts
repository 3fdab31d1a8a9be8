import type { FastifyInstance } from 'fastify'
import type { BuiltinContext, BuiltinRoute, Concern, Target } from '../kit/index.ts'

/** The concerns and targets that a config may use; src/config is given it and knows none of them by name. */
export interface Catalog {
  /** The concerns in the order in which they run. */
  readonly concerns: readonly Concern[]
  readonly targets: readonly Target[]
  /** Whether modules of third parties are among them. */
  readonly hasExtensions?: boolean
  /** The gateway's own routes, by what the config asks for. */
  readonly standing: {
    readonly routes: (plan: BuiltinContext) => readonly BuiltinRoute[]
    /** Prepares the context that they share, apart from all other routes. */
    readonly prepare?: (app: FastifyInstance) => void
  }
}
