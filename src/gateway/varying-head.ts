import type { HeadHook } from '../kit/head-hook.ts'
import type { HeadPlan } from '../kit/response-head.ts'
import { privateField } from '../lib/http/cache-control.ts'
import { joinVary } from '../lib/http/headers.ts'
import type { VaryingPlace } from './route-table/index.ts'

/** Returns a head plan whose responses tell caches what the route of a request depends on. */
export const varyingHead = (head: HeadPlan, { vary, isPrivate }: VaryingPlace): HeadPlan => ({
  ...head,
  vary: joinVary(head.vary, vary),
  hooks: isPrivate && !head.hooks.includes(makePrivate) ? [...head.hooks, makePrivate] : head.hooks
})

// No request header tells a cache the address of a client.
const makePrivate: HeadHook = (_request, _reply, head) =>
  head.set('cache-control', privateField(head.get('cache-control')))
