// @ts-check
import { createError, describeRefusal, fp, gate, overrideOf, perRoute, Type } from 'sallyport/kit'

/** @typedef {import('./plugin-name.js').PluginNameOptions} Options */

export const key = 'pluginName'

export const options = Type.Object(
  {
    ...gate,
    header: Type.String({
      pattern: '^[a-z0-9-]+$',
      default: 'x-plugin-name',
      description: 'The header that is looked at, in lower case.'
    }),
    values: Type.Array(Type.String(), {
      default: ['no'],
      description: 'The values of the header that are refused.'
    })
  },
  {
    additionalProperties: false,
    description: 'Refuses requests by a header.',
    examples: [{ values: ['no'] }]
  }
)

export const override = overrideOf(options)

/** The header has a value that is refused. */
export const PluginNameRefused = createError(
  'SP_ERR_PLUGIN_NAME_REFUSED',
  'The value of this header is refused',
  403
)

// What "sallyport openapi" says of routes with this concern.
export const describes = () => ({ refusals: [describeRefusal(PluginNameRefused)] })

export default fp(
  /**
   * @param {import('fastify').FastifyInstance} app
   * @param {Required<Options>} root
   */
  async function pluginName(app, root) {
    perRoute(app, key, root, ({ header, values }) => {
      // Once per route, at boot.
      const refused = new Set(values)
      return {
        onRequest(request, _reply, done) {
          done(refused.has(String(request.headers[header])) ? new PluginNameRefused() : undefined)
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)
