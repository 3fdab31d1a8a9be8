import type { Condition } from '../lib/conditions/options.ts'
import { privateField } from '../lib/http/cache-control.ts'
import { joinVary } from '../lib/http/headers.ts'
import type { HeadHook } from './head-hook.ts'
import type { RouteInfo } from './route-info.ts'

/** Adds to the responses of a route what tells caches that conditions choose them. */
export function varyBy(route: RouteInfo, conditions: readonly Condition[]): void {
  const { head } = route
  const names = conditions.flatMap(({ kind, name }) =>
    kind === 'header' ? [name] : kind === 'cookie' ? ['cookie'] : []
  )
  const isPrivate = conditions.some(({ kind }) => kind === 'client.ip')
  route.head = {
    ...head,
    vary: [...new Set(names)].reduce(joinVary, head.vary),
    hooks: isPrivate && !head.hooks.includes(makePrivate) ? [...head.hooks, makePrivate] : head.hooks
  }
}

// No request header tells a cache the address of a client.
const makePrivate: HeadHook = (_request, _reply, head) =>
  head.set('cache-control', privateField(head.get('cache-control')))
