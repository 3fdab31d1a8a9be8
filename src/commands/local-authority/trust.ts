/** Returns how to trust a local authority on a platform of Node.js. */
export const trustHint = (root: string, platform: NodeJS.Platform): string => `\
Made a local certificate authority: ${root}
Browsers warn of its certificates until you trust it:
${(COMMANDS[platform] ?? COMMANDS['linux'] ?? []).map((line) => `  ${line.replaceAll('ROOT', quoted(root))}\n`).join('')}\
  Firefox: Settings, Certificates, View Certificates, Authorities, Import
A single program trusts it with curl --cacert ${quoted(root)} or NODE_EXTRA_CA_CERTS=${quoted(root)}.
Whoever has root.key beside it can pretend to be any local name to you: don't share it.
`

const COMMANDS: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  darwin: ['security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db ROOT'],
  win32: ['certutil -user -addstore Root ROOT'],
  linux: [
    'Debian: sudo cp ROOT /usr/local/share/ca-certificates/sallyport.crt && sudo update-ca-certificates',
    'Fedora: sudo trust anchor ROOT',
    'Chromium: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n sallyport -i ROOT'
  ]
}

const quoted = (file: string): string => (/^[\w./:\\-]+$/.test(file) ? file : `"${file}"`)
