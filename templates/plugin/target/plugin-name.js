// @ts-check
import { fp, Type } from 'sallyport/kit'

/** @typedef {import('./plugin-name.js').PluginNameOptions} Options */

export const key = 'pluginName'

export const target = true

export const options = Type.Object(
  {
    message: Type.String({ default: 'Hello', description: 'The text of the response.' }),
    status: Type.Integer({
      minimum: 200,
      maximum: 599,
      default: 200,
      description: 'The status of the response.'
    })
  },
  {
    additionalProperties: false,
    description: 'Responds with a message.',
    examples: [{ message: 'Hello' }]
  }
)

export default fp(
  /**
   * @param {import('fastify').FastifyInstance} app
   * @param {import('sallyport/kit').TargetRoutes<Required<Options>>} targets
   */
  async function pluginName(app, { routes }) {
    for (const { mounts, options } of routes) {
      const { message, status } = options
      for (const mount of mounts)
        app.route({
          ...mount,
          // The config is frozen, and Fastify changes the array.
          method: [...mount.method],
          // The mounts include HEAD.
          exposeHeadRoute: false,
          handler: async (_request, reply) => reply.code(status).send({ message })
        })
    }
  },
  { name: key, fastify: '5.x' }
)
