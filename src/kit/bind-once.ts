import { getOrCreate } from '../lib/memoize.ts'

/**
 * Binds a hook that many routes share once for an instance. Fastify binds it for each route, and each bound function takes
 * memory that makes the garbage collections of a reload longer (docs/decisions/0055).
 */
export function bindOnce<T extends object>(hook: T): T {
  if (Object.hasOwn(hook, 'bind')) return hook
  const bound = new WeakMap<object, unknown>()
  const { bind } = Function.prototype
  const value = (to: object): unknown => getOrCreate(bound, to, () => bind.call(hook as never, to))
  return Object.defineProperty(hook, 'bind', { value, configurable: true })
}
