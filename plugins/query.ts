import type { Comparison } from '../src/kit/concern.ts'
import { fp, type OptionFault, perOptions, Type } from '../src/kit/index.ts'
import { encodeValue, parameterName } from '../src/lib/http/url-parts.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { EXPECTED, TEMPLATE } from '../src/lib/units.ts'
import { type Template, template, templateFaults } from '../src/lib/values.ts'

export const key = 'query'

export const options = Type.Record(
  Type.String(),
  Type.Unsafe<string | false>({
    anyOf: [{ type: 'string' }, { const: false }],
    [TEMPLATE]: true,
    [EXPECTED]: 'a string (with values such as "{caller.id}"), or false to remove it'
  }),
  {
    description:
      'Query parameters sent to the upstream: a string sets one, false removes it; all others pass unchanged.',
    examples: [{ user: '{caller.id}', debug: false }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export type QueryOptions = Static<typeof options>

export const faults = (options: QueryOptions): OptionFault[] =>
  Object.entries(options).flatMap(([name, value]) => templateFaults(value, [name]))

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (_before: QueryOptions | undefined, _after: QueryOptions | undefined, { changed }) =>
    changed.map((name) => ({
      class: 'exposure',
      path: [name],
      message: 'is another parameter for upstreams'
    }))
}

export default fp<QueryOptions>(
  async function query(app, root) {
    perOptions(app, key, root, (options) => {
      const names = new Set(Object.keys(options))
      const set = Object.entries(options).flatMap(([name, value]): [string, Template][] =>
        value === false ? [] : [[encodeURIComponent(name), template(value)]]
      )
      if (names.size === 0) return undefined
      return {
        onRequest(request, _reply, done) {
          request.changeQuery = (search) => {
            const pairs = search.length > 1 ? search.slice(1).split('&') : []
            const remaining = pairs.filter((pair) => !names.has(parameterName(pair)))
            for (const [name, value] of set) remaining.push(`${name}=${encodeValue(value.render(request))}`)
            return remaining.length === 0 ? '' : `?${remaining.join('&')}`
          }
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)
