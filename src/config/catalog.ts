import type { FastifyInstance } from 'fastify'
import type { BuiltinContext, BuiltinRoute, Concern, Target } from '../kit/index.ts'

/** What the words of a config can mean: handed to the config room, which knows the contract and none of them by name. */
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
