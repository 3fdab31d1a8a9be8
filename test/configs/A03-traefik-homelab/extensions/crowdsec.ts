import { createError, fp, gate, overrideOf, perRoute, type Static, Type } from '../../../../src/kit/index.ts'
export const key = 'crowdsec'
export const options = Type.Object(
  { ...gate, banned: Type.Array(Type.String(), { description: 'Addresses.' }) },
  { additionalProperties: false, description: 'Asks CrowdSec (here: a list).' }
)
export const override = overrideOf(options)
export const Banned = createError('SP_ERR_CROWDSEC_BANNED', 'Banned', 403)
export default fp<Static<typeof options>>(
  async function crowdsec(app, root) {
    perRoute(app, key, root, ({ banned }) => ({
      onRequest(request, _reply, done) {
        done(banned.includes(request.ip) ? new Banned() : undefined)
      }
    }))
  },
  { name: key, fastify: '5.x' }
)
