package dev.phalanx.collectives.security;

import io.grpc.netty.GrpcSslContexts;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.IOException;
import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.EdECPrivateKeySpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Date;
import javax.net.ssl.SSLException;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.crypto.params.Ed25519PrivateKeyParameters;
import org.bouncycastle.crypto.util.SubjectPublicKeyInfoFactory;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;

/**
 * A process's certificate, signed by its job's authority. The authority's key (Ed25519, RFC 8032)
 * is made from the job's token, so each member is the authority: it signs its own certificate and
 * knows that of every other member for one. The certificate's own key is new and never leaves the
 * process, so that what was recorded on the network stays secret even if the token becomes known.
 */
final class JobCertificate {
  /** Every member's name in its certificate; which rank it is, it proves by the token. */
  static final String HOST_NAME = "phalanx-job";

  private static final X500Name AUTHORITY = new X500Name("CN=Phalanx job authority");
  private static final X500Name MEMBER = new X500Name("CN=Phalanx job member");
  private static final String AUTHORITY_KEY = "Ed25519";
  private static final String MEMBER_KEY = "EC";
  private static final String MEMBER_CURVE = "secp256r1";
  private static final String PROTOCOL = "TLSv1.3";
  private static final int SERIAL_BITS = 128;

  /** For hosts whose clocks differ. */
  private static final Duration BEFORE = Duration.ofDays(2);

  /** No job's processes live longer, and with the process its key is gone. */
  private static final Duration LIFE = Duration.ofDays(3650);

  private final X509Certificate authority;
  private final PrivateKey key;
  private final X509Certificate certificate;

  private JobCertificate(X509Certificate authority, PrivateKey key, X509Certificate certificate) {
    this.authority = authority;
    this.key = key;
    this.certificate = certificate;
  }

  /** A new certificate of the authority of this token's job. */
  static JobCertificate issue(JobToken token) {
    try {
      Ed25519PrivateKeyParameters authorityKey =
          new Ed25519PrivateKeyParameters(token.derive("the job's TLS authority"), 0);
      KeyFactory factory = KeyFactory.getInstance(AUTHORITY_KEY);
      PrivateKey signingKey =
          factory.generatePrivate(
              new EdECPrivateKeySpec(NamedParameterSpec.ED25519, authorityKey.getEncoded()));
      PublicKey authorityPublicKey =
          factory.generatePublic(
              new X509EncodedKeySpec(
                  SubjectPublicKeyInfoFactory.createSubjectPublicKeyInfo(
                          authorityKey.generatePublicKey())
                      .getEncoded()));
      X509v3CertificateBuilder ofAuthority =
          builder(AUTHORITY, authorityPublicKey)
              .addExtension(Extension.basicConstraints, true, new BasicConstraints(0))
              .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign));
      KeyPairGenerator generator = KeyPairGenerator.getInstance(MEMBER_KEY);
      generator.initialize(new ECGenParameterSpec(MEMBER_CURVE));
      KeyPair own = generator.generateKeyPair();
      X509v3CertificateBuilder ofMember =
          builder(MEMBER, own.getPublic())
              .addExtension(Extension.basicConstraints, true, new BasicConstraints(false))
              .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature))
              .addExtension(
                  Extension.extendedKeyUsage,
                  false,
                  new ExtendedKeyUsage(
                      new KeyPurposeId[] {
                        KeyPurposeId.id_kp_serverAuth, KeyPurposeId.id_kp_clientAuth
                      }))
              .addExtension(
                  Extension.subjectAlternativeName,
                  false,
                  new GeneralNames(new GeneralName(GeneralName.dNSName, HOST_NAME)));
      return new JobCertificate(
          sign(ofAuthority, signingKey), own.getPrivate(), sign(ofMember, signingKey));
    } catch (GeneralSecurityException | OperatorCreationException | IOException e) {
      throw new IllegalStateException(
          "This Java cannot make a certificate for TLS: it has no " + AUTHORITY_KEY + " or no EC",
          e);
    }
  }

  private static X509v3CertificateBuilder builder(X500Name subject, PublicKey publicKey) {
    Instant now = Instant.now();
    return new JcaX509v3CertificateBuilder(
        AUTHORITY,
        new BigInteger(SERIAL_BITS, new SecureRandom()).setBit(0),
        Date.from(now.minus(BEFORE)),
        Date.from(now.plus(LIFE)),
        subject,
        publicKey);
  }

  private static X509Certificate sign(X509v3CertificateBuilder builder, PrivateKey authorityKey)
      throws OperatorCreationException, GeneralSecurityException {
    return new JcaX509CertificateConverter()
        .getCertificate(
            builder.build(new JcaContentSignerBuilder(AUTHORITY_KEY).build(authorityKey)));
  }

  SslContext forServers() {
    return context(SslContextBuilder.forServer(key, certificate).clientAuth(ClientAuth.REQUIRE));
  }

  SslContext forClients() {
    return context(SslContextBuilder.forClient().keyManager(key, certificate));
  }

  private SslContext context(SslContextBuilder builder) {
    try {
      return GrpcSslContexts.configure(builder, SslProvider.JDK)
          .trustManager(authority)
          .protocols(PROTOCOL)
          .build();
    } catch (SSLException e) {
      throw new IllegalStateException("This Java cannot speak " + PROTOCOL, e);
    }
  }
}
