import type { BuiltinContext, BuiltinRoute, Target } from '../src/kit/index.ts'
import * as files from './files.ts'
import { health } from './health.ts'
import { jwksRoutes } from './jwks.ts'
import { loginRoutes, readForms } from './login.ts'
import * as proxy from './proxy/index.ts'
import * as redirect from './redirect.ts'
import * as respond from './respond.ts'

/** What can answer a request. */
export const targets: readonly Target[] = [proxy, redirect, respond, files]

/** The gateway's own routes. */
export const builtin = {
  routes: (plan: BuiltinContext): BuiltinRoute[] => [...health, ...jwksRoutes(plan), ...loginRoutes(plan)],
  prepare: readForms
}
