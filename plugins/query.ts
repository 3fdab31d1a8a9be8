import { fp, type OptionFault, perOptions, Type } from '../src/kit/index.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { EXPECTED, TEMPLATE } from '../src/lib/units.ts'
import { type Template, template, templateFaults } from '../src/lib/values.ts'

export const key = 'query'

export const options = Type.Record(
  Type.String(),
  Type.Unsafe<string | false>({
    anyOf: [{ type: 'string' }, { const: false }],
    [TEMPLATE]: true,
    [EXPECTED]: 'a text (with values such as "{caller.id}"), or false to remove it'
  }),
  {
    description:
      'Parameters of the query as the upstream gets them: a text sets one, false removes it; all others pass byte for byte.'
  }
)

export const override = overrideOf(options)
export type QueryOptions = Static<typeof options>

export const faults = (said: QueryOptions): OptionFault[] =>
  Object.entries(said).flatMap(([name, value]) => templateFaults(value, [name]))

declare module 'fastify' {
  interface FastifyRequest {
    /** Changes a query (with its question mark) on the way to the upstream; null to let it pass as it is. */
    changeQuery: ((query: string) => string) | null
  }
}

export default fp<QueryOptions>(
  async function query(app, root) {
    app.decorateRequest('changeQuery', null)
    perOptions(app, key, root, (said) => {
      const names = new Set(Object.keys(said))
      const set = Object.entries(said).flatMap(([name, value]): [string, Template][] =>
        value === false ? [] : [[encodeURIComponent(name), template(value)]]
      )
      if (names.size === 0) return undefined
      return {
        onRequest(request, _reply, done) {
          request.changeQuery = (written) => {
            const pairs = written.length > 1 ? written.slice(1).split('&') : []
            const kept = pairs.filter((pair) => !names.has(parameterName(pair)))
            for (const [name, value] of set) kept.push(`${name}=${encodeURIComponent(value.render(request))}`)
            return kept.length === 0 ? '' : `?${kept.join('&')}`
          }
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)

function parameterName(pair: string): string {
  const end = pair.indexOf('=')
  const name = (end === -1 ? pair : pair.slice(0, end)).replaceAll('+', ' ')
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
