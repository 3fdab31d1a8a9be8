// Lets certificates be proven by the DNS (dns-01): tells a service of yours which TXT record to add (POST) and which to
// take away (DELETE). Outside of this repository the import is 'sallyport/kit'.
import { type DnsChallenge, fp, type Static, Type } from '../../src/kit/index.ts'

export const key = 'dnsHook'

export const options = Type.Object(
  {
    url: Type.String({
      description: 'The service that changes the DNS, and answers once the change is told.'
    }),
    token: Type.String({ description: 'What it knows us by, as a Bearer token.' })
  },
  { additionalProperties: false, description: 'Puts records into the DNS for certificates.' }
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
