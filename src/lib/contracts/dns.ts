/** Puts records into the DNS, for certificates of names that only the DNS can prove (dns-01). */
export interface DnsChallenge {
  /** Adds a TXT record beside those that are there already; settles once the name's own servers tell it. */
  present(name: string, value: string): Promise<void>
  /** Takes the record away again. */
  cleanup(name: string, value: string): Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** How records get into the DNS, where an extension decorates the instance with it. */
    dnsChallenge?: DnsChallenge
  }
}
