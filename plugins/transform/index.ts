import { fp, type Hooks, perOptions, type RouteInfo } from '../../src/kit/index.ts'
import { faults, key, options, override, partOf, type TransformOptions } from './options.ts'
import { changeRequests } from './request.ts'
import { changeResponses } from './response.ts'
import { valuesInSet } from './set-values.ts'

export { comparison } from './compare.ts'
export { describes } from './describe.ts'
export { BodyInvalid, MediaUnsupported, ResponseInvalid } from './errors.ts'
export { faults, key, options, override, type TransformOptions }

export const stateless = true

export default fp<TransformOptions>(
  async function transform(app, root) {
    // The gateway's own routes, such as the log-in, keep their form.
    const isOfConfig = (_options: TransformOptions, { kind }: RouteInfo): boolean => kind === 'config'
    perOptions(
      app,
      key,
      root,
      (options, route) => (isOfConfig(options, route) ? hooksFor(options) : undefined),
      isOfConfig
    )
  },
  { name: key, fastify: '5.x' }
)

function hooksFor(options: TransformOptions): Hooks | undefined {
  const request = partOf(options, 'request')
  const response = partOf(options, 'response')
  if (request === undefined && response === undefined) return undefined
  return {
    // After `validate`, and after gates that look at what the client sent.
    ...(request === undefined ? {} : { preHandler: changeRequests(request) }),
    ...(response === undefined
      ? {}
      : {
          stages: [changeResponses(response)],
          stageValues: valuesInSet(response.set ?? {}),
          readsBodies: true
        })
  }
}
