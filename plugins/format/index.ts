import { fp, type Hooks, perOptions, type RouteInfo } from '../../src/kit/index.ts'
import { compileFormat } from '../../src/lib/body/format.ts'
import { isObject } from '../../src/lib/schema.ts'
import { type FormatConcernOptions, faults, key, options, override, shorthand } from './options.ts'
import { convertResponses } from './response.ts'

export { comparison } from './compare.ts'
export { FormatInvalid } from './response.ts'
export { type FormatConcernOptions, faults, key, options, override, shorthand }

export const stateless = true

export default fp<FormatConcernOptions>(
  async function format(app, root) {
    perOptions(
      app,
      key,
      root,
      (options, route) => (route.kind === 'config' ? hooksFor(options, route) : undefined),
      (_options, route) => `${route.kind} ${changesValues(route)}`
    )
  },
  { name: key, fastify: '5.x' }
)

function hooksFor(options: FormatConcernOptions, route: RouteInfo): Hooks | undefined {
  const { from, to } = options
  const isChanged = changesValues(route)
  if (!isChanged && to.every((type) => type === from)) return undefined
  const { choose } = compileFormat(options)
  return {
    stages: [convertResponses(options, { isChanged })],
    readsBodies: true,
    ...(to.length > 1 ? { vary: 'accept', stageValues: ({ headers }) => [choose(headers.accept)] } : {})
  }
}

/** Returns whether `transform` changes what has been read on a route. */
function changesValues({ options: { transform } }: RouteInfo): boolean {
  return isObject(transform) && transform['response'] !== undefined
}
