import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import type { PlanDraft } from './plan-draft.ts'

type Options = Readonly<Record<string, unknown>>

/** Adds the options of concerns that the target of a route implies; groups and the route override them. */
export function addImpliedOptions({ catalog, routes, upstreams, states, resolver }: PlanDraft): void {
  const implying = new Map(
    catalog.targets.flatMap(({ key, implies }) => (implies === undefined ? [] : [[key, implies]]))
  )
  const extend = sharedExtension()
  for (const route of routes) {
    const { targetOptions } = route
    const valid = isObject(targetOptions) ? resolver.validPartOf(targetOptions) : undefined
    if (valid === undefined) continue
    const implied = implying.get(route.target)?.(valid.options as never, upstreams)
    for (const [key, options] of Object.entries(implied ?? {})) {
      const added = without(options, states.get(route)?.get(key)?.setInside ?? [])
      const current = route.options[key]
      if (!isObject(current) || Object.keys(added).length === 0) continue
      const id = JSON.stringify([key, added])
      route.options = extend(route.options, { [key]: extend(current, added, id) }, id)
    }
  }
}

const without = (options: Options, names: readonly string[]): Options =>
  Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)))

/** Returns a function that extends an object, and returns the same object for the same base and id, so that routes still share it. */
function sharedExtension(): (base: Options, added: Options, id: string) => Options {
  const known = new Map<object, Map<string, Options>>()
  return (base, added, id) =>
    getOrCreate(
      getOrCreate(known, base, () => new Map<string, Options>()),
      id,
      () => ({ ...base, ...added })
    )
}
