/** Publishes the TXT records of dns-01 challenges. */
export interface DnsChallenge {
  /** Adds a TXT record to those of the name; resolves once the name's authoritative servers return it. */
  present(name: string, value: string): Promise<void>
  /** Removes the record. */
  cleanup(name: string, value: string): Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Publishes dns-01 records, where an extension decorates the instance with it. */
    dnsChallenge?: DnsChallenge
  }
}
