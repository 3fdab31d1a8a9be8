// A concern of one's own: which tenant a request is for. Outside of this repository the import is 'sallyport/kit';
// inside of it that name leads to the build (dist), which a clone does not have.
import { createError, fp, gate, overrideOf, perRoute, type Static, Type } from '../../src/kit/index.ts'

export const key = 'tenant'

export const options = Type.Object(
  {
    ...gate,
    header: Type.String({
      default: 'x-tenant',
      description: 'The header that names the tenant, in lower case.'
    }),
    known: Type.Array(Type.String(), { description: 'The tenants we serve.' })
  },
  { additionalProperties: false, description: 'Finds out on whose behalf a request comes.' }
)

export const override = overrideOf(options)

declare module 'fastify' {
  interface FastifyRequest {
    /** On whose behalf the request comes; null on routes without tenants. */
    tenant: string | null
  }
}

/** Nobody of this name is served here. */
export const TenantUnknown = createError<[string]>('SP_ERR_TENANT_UNKNOWN', 'There is no tenant "%s"', 404)

export default fp<Static<typeof options>>(
  async function tenant(app, root) {
    app.decorateRequest('tenant', null)
    perRoute(app, key, root, ({ header, known }) => {
      const tenants = new Set(known)
      return {
        onRequest(request, _reply, done) {
          const name = String(request.headers[header] ?? '')
          if (!tenants.has(name)) return done(new TenantUnknown(name))
          request.tenant = name
          done()
        }
      }
    })
  },
  { name: key, fastify: '5.x' }
)
