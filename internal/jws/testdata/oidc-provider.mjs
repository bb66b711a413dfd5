// Runs node-oidc-provider as a bank's authorization server: JWT access tokens with PS256, bound to the client's certificate, which
// a proxy would hand on in X-Client-Cert. Arguments: the package's folder, client id, client secret, audience. It prints its issuer.
import { createServer } from 'node:http';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [folder, id, secret, audience] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(join(folder, 'lib', 'index.js')).href);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'as-1', use: 'sig', alg: 'PS256' };

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: [key] },
    scopes: ['payments', 'recurring-payments'],
    clientDefaults: { id_token_signed_response_alg: 'PS256' },
    clients: [{
      client_id: id, client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_post', tls_client_certificate_bound_access_tokens: true,
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        getCertificate: (ctx) => new X509Certificate(Buffer.from(ctx.get('x-client-cert'), 'base64')),
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:bank:arauto',
        getResourceServerInfo: () => ({
          scope: 'payments recurring-payments', audience, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'PS256' } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
