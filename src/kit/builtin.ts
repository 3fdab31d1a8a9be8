import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** A built-in route, such as a health check or the login. */
export interface BuiltinRoute {
  readonly name: string
  readonly path: string
  readonly hosts: readonly string[]
  readonly methods: readonly string[]
  /** The options of concerns on the route, by key; `'*': false` switches off every concern that is not listed. */
  readonly options: Readonly<Record<string, unknown>>
  readonly handler: (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** The config that built-in routes depend on. */
export interface BuiltinContext {
  readonly publicUrl: string | undefined
  /** The resolved root options of each concern, by key. */
  readonly options: Readonly<Record<string, unknown>>
  readonly routes: readonly {
    readonly hosts: readonly string[]
    /** The resolved options of each concern on the route, by key; false where it is off. */
    readonly options: Readonly<Record<string, unknown>>
    /** Returns the paths of the innermost place that sets an option of a concern; empty for the root. */
    readonly pathsSetting: (key: string, option: readonly (string | number)[]) => readonly string[]
    /** Whether the session is a credential on the route. */
    readonly usesSession: boolean
  }[]
}
