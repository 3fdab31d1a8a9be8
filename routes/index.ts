import type { BuiltinContext, BuiltinRoute } from '../src/kit/builtin.ts'
import type { Target } from '../src/kit/index.ts'
import * as aggregate from './aggregate/index.ts'
import * as apiDocs from './api-docs/index.ts'
import * as files from './files.ts'
import { health } from './health.ts'
import { jwksRoutes } from './jwks.ts'

import { addBodyParsers, loginRoutes } from './login/index.ts'
import * as proxy from './proxy/index.ts'
import * as redirect from './redirect.ts'
import { resourceMetadataRoutes } from './resource-metadata.ts'
import * as respond from './respond.ts'

/** The targets that a route can have. */
export const targets = [
  proxy,
  aggregate,
  redirect,
  respond,
  files,
  apiDocs
] as const satisfies readonly Target[]

/** The routes that the gateway adds itself. */
export const builtin = {
  routes: (plan: BuiltinContext): BuiltinRoute[] => [
    ...health,
    ...jwksRoutes(plan),
    ...resourceMetadataRoutes(plan),
    ...loginRoutes(plan)
  ],
  prepare: addBodyParsers
}
