// Answers dns-01 challenges: asks a service of yours to add a TXT record (POST) and to remove it (DELETE).
// In your own project, import from 'sallyport/kit'.
import { type DnsChallenge, fp, type Static, Type } from '../../src/kit/index.ts'

export const key = 'dnsHook'

export const options = Type.Object(
  {
    url: Type.String({
      description: 'The service that changes the DNS, and responds once the change is visible.'
    }),
    token: Type.String({ description: 'The Bearer token for that service.' })
  },
  { additionalProperties: false, description: 'Adds DNS records for certificates.' }
)

export const override = false

export default fp<Static<typeof options>>(
  async function dnsHook(app, { url, token }) {
    const ask = async (method: string, name: string, value: string): Promise<void> => {
      const response = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name, type: 'TXT', value })
      })
      if (!response.ok) throw new Error(`the DNS service answered ${response.status}`)
    }
    const dnsChallenge: DnsChallenge = {
      present: (name, value) => ask('POST', name, value),
      cleanup: (name, value) => ask('DELETE', name, value)
    }
    app.decorate('dnsChallenge', dnsChallenge)
  },
  { name: key, fastify: '5.x' }
)
