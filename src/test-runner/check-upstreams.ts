import { namedEntries } from '../config/facets.ts'
import type { Fault } from '../config/fault.ts'
import type { Plan } from '../config/plan-types.ts'
import { faultAt, type Source } from '../config/source.ts'
import { nearest } from '../lib/schema.ts'
import type { TestFile } from './schema.ts'

/** Lists the upstreams that tests expect something of, and that no config has: "null" would always hold for them. */
export function unknownUpstreams(source: Source, { tests }: TestFile, plans: readonly Plan[]): Fault[] {
  const known = new Set(plans.flatMap((plan) => Object.keys(namedEntries(plan))))
  return tests.flatMap((test, i) =>
    [test, ...(test.steps ?? [])].flatMap(({ expect }, j) =>
      Object.keys(expect?.upstreams ?? {})
        .filter((name) => !known.has(name) && !isUrl(name))
        .map((name) => {
          const step = j === 0 ? [] : ['steps', j - 1]
          const near = nearest(name, [...known])
          const hint =
            near === undefined ? `known: ${[...known].join(', ') || 'none'}` : `did you mean "${near}"?`
          const path = ['tests', i, ...step, 'expect', 'upstreams', name]
          return faultAt(source, path, `The config has no upstream "${name}"; ${hint}`)
        })
    )
  )
}

const isUrl = (name: string): boolean => name.includes(':')
