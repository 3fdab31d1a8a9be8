// A concern of your own: it finds the tenant of a request. In your own project, import from 'sallyport/kit';
// here that name would lead to the build (dist), which a clone does not have.
import {
  createError,
  type Description,
  describeRefusal,
  fp,
  gate,
  overrideOf,
  perRoute,
  type Static,
  Type
} from '../../src/kit/index.ts'

export const key = 'tenant'

export const options = Type.Object(
  {
    ...gate,
    header: Type.String({
      default: 'x-tenant',
      description: 'The header that names the tenant, in lower case.'
    }),
    known: Type.Array(Type.String(), { description: 'The names of the tenants.' })
  },
  { additionalProperties: false, description: 'Finds the tenant of a request.' }
)

export const override = overrideOf(options)

declare module 'fastify' {
  interface FastifyRequest {
    /** The tenant of the request; null on routes without tenants. */
    tenant: string | null
  }
}

/** The request names an unknown tenant, or none. */
export const TenantUnknown = createError<[string]>('SP_ERR_TENANT_UNKNOWN', 'There is no tenant "%s"', 404)

// What "sallyport openapi" says of routes with tenants.
export const describes = ({ header }: Static<typeof options>): Description => ({
  headers: { properties: { [header]: { type: 'string' } }, required: [header] },
  refusals: [describeRefusal(TenantUnknown)]
})

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
